-- One row per run, stage, component and model that replied: how many replies there were, their average length in tokens
-- and time; and how many questions there were about each explanation, or feature alone, that was judged.
with asked as (
    select
        *,
        status = 'ok' and attempts > 0 as answered,
        concat_ws('/', coder, split_part(request, '/', 1), split_part(request, '/', 2), split_part(request, '/', 3))
            as about
    from requests
)

select
    run,
    stage,
    component,
    model,
    count(*) filter (where answered) as replies,
    avg(latency) filter (where answered) as seconds,
    avg(completion_tokens) filter (where answered) as completion_tokens,
    count(distinct about) as posed,
    count(*) / count(distinct about) as questions
from asked
group by run, stage, component, model
having replies > 0
order by run, stage, component, model
