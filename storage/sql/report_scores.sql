-- One row per feature that a scorer judged: its score, null where too many judgements failed, with that of its control
-- (floor) and that without an explanation (unexplained) beside it, null where there is none. Means over replicates
-- where several were judged, which are no features of their own; `alone` where it needs no explanation. n and n_failed
-- are the feature's own judgements.
select
    coder,
    explainer,
    scorer,
    feature,
    explainer = '-' as alone,
    min(measure) filter (where control = 'none') as measure,
    avg(score order by replicate) filter (where control = 'none') as score,
    avg(score order by replicate) filter (where control in ('shuffled', 'mixed')) as floor,
    avg(score order by replicate) filter (where control = 'unexplained') as unexplained,
    coalesce(sum(n) filter (where control = 'none'), 0)::bigint as n,
    coalesce(sum(n_failed) filter (where control = 'none'), 0)::bigint as n_failed
from scores
group by coder, explainer, scorer, feature
having count(*) filter (where control = 'none') > 0
order by alone, coder, explainer, scorer, feature
