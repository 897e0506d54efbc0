-- One row per stage and kind of failure: requests that got no answer, and answers that could not be read.
with failures as (
    select
        'request' as what,
        component,
        reason
    from requests
    where status = 'failed' and stage != 'check'
    union all
    select
        'explanation' as what,
        explainer as component,
        reason
    from explanations
    where status = 'failed'
    union all
    select
        'judgement' as what,
        case when explainer = '-' then scorer else explainer || '/' || scorer end as component,
        reason
    from judgements
    where status = 'failed'
)

select
    what,
    component,
    count(*) as failures,
    min(reason) as example
from failures
group by what, component
order by what, component
