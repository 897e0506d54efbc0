-- One row per stage, component and model: how long its replies were on average, in tokens, and how long they took.
select
    stage,
    component,
    model,
    avg(latency) as seconds,
    avg(completion_tokens) as completion_tokens
from requests
where status = 'ok' and attempts > 0
group by stage, component, model
order by stage, component, model
