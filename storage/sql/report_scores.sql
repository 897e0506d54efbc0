-- One row per score of a feature, with that of its shuffled control beside it; `alone` where it needs no explanation.
select
    own.coder,
    own.explainer,
    own.scorer,
    own.feature,
    own.explainer = '-' as alone,
    own.measure,
    own.score,
    floor.score as floor,
    own.n,
    own.n_failed
from scores as own
left join scores as floor
    on
        own.coder = floor.coder
        and own.explainer = floor.explainer
        and own.replicate = floor.replicate
        and own.scorer = floor.scorer
        and own.feature = floor.feature
        and floor.control = 'shuffled'
where own.control = 'none' and own.score is not null
order by alone, own.coder, own.explainer, own.scorer, own.feature, own.replicate
