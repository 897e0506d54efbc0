-- One row per explanation and scorer with the score of its shuffled control beside it.
select
    own.coder,
    own.explainer,
    own.scorer,
    own.feature,
    own.balanced_accuracy as score,
    floor.balanced_accuracy as floor,
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
where own.control = 'none' and own.balanced_accuracy is not null
order by own.coder, own.explainer, own.scorer, own.feature
