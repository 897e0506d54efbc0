-- One row per coder, explainer, feature and scorer: the score by which scorers are compared over features, the mean of
-- replicates where several were judged. What needs no explanation is compared with each explainer's scores.
select
    coder,
    explainer,
    scorer,
    feature,
    avg(score order by replicate) as score
from placed
where control = 'none' and score is not null and explainer is not null
group by coder, explainer, scorer, feature, alone
order by coder, explainer, alone, scorer, feature
