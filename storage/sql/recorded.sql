-- One row per judgement of an explanation by a scorer that asks for verdicts on both classes, in the order of requests.
select
    coder,
    explainer,
    scorer,
    feature,
    replicate,
    request,
    context,
    truth,
    verdict
from judgements
where
    control = 'none'
    and scorer in (
        select scores.scorer from scores
        where scores.measure = 'balanced_accuracy'
    )
order by scorer, coder, explainer, feature, replicate, request, context
