-- One row per score of a feature, with that of its control beside it: means over replicates where several were judged,
-- which are no features of their own; `alone` where it needs no explanation.
select
    own.coder,
    own.explainer,
    own.scorer,
    own.feature,
    own.explainer = '-' as alone,
    own.measure,
    avg(own.score order by own.replicate) as score,
    avg(floor.score order by own.replicate) as floor,
    sum(own.n)::bigint as n,
    sum(own.n_failed)::bigint as n_failed
from scores as own
left join scores as floor
    on
        own.coder = floor.coder
        and own.explainer = floor.explainer
        and own.replicate = floor.replicate
        and own.scorer = floor.scorer
        and own.feature = floor.feature
        and floor.control != 'none'
where own.control = 'none' and own.score is not null
group by own.coder, own.explainer, own.scorer, own.feature, own.measure
order by alone, own.coder, own.explainer, own.scorer, own.feature
