-- One row per coder, explainer and scorer: how many of its scores lie above the floor at a false discovery rate of
-- $level, of those that a floor was measured for.
select
    coder,
    explainer,
    scorer,
    count(*) filter (where q <= $level) as above,
    count(q) as scored
from tested
where q is not null
group by coder, explainer, scorer
order by coder, explainer, scorer
