-- One row per run, stage, component and model that replied: how many replies there were, their average length in tokens
-- and time; how many questions there were about each explanation, or feature alone, that was judged; and, of
-- explainers, up to nine of the explanations: the median of each ninth by length.
with asked as (
    select
        *,
        status = 'ok' and attempts > 0 as answered,
        -- Lakes older than the column: the same number where no request was tried twice.
        coalesce(calls, attempts) as called,
        concat_ws('/', coder, split_part(request, '/', 1), split_part(request, '/', 2), split_part(request, '/', 3))
            as about
    from requests
),

sorted_texts as (
    select
        run,
        explainer,
        model,
        text,
        row_number() over (partition by run, explainer, model order by length(text), text) as place,
        count(*) over (partition by run, explainer, model) as total
    from explanations
    where status = 'ok' and coalesce(chosen, true)
),

medians as (
    select
        run,
        explainer,
        model,
        list(text order by place)[(count(*) + 1) // 2] as text
    from sorted_texts
    group by run, explainer, model, (place - 1) * 9 // total
),

texts as (
    select
        run,
        'explain' as stage,
        explainer as component,
        model,
        -- Not in the order of their lengths: the estimate gives the first one another weight than the others.
        list(text order by hash(text)) as texts
    from medians
    group by run, explainer, model
),

pace as (
    select
        run,
        stage,
        component,
        model,
        (sum(called) filter (where answered))::double as replies,
        avg(latency) filter (where answered) as seconds,
        sum(completion_tokens) filter (where answered)
        / sum(called) filter (where answered and completion_tokens is not null) as completion_tokens,
        count(distinct about) as posed,
        count(*) / count(distinct about) as questions
    from asked
    group by run, stage, component, model
    having replies > 0
)

select
    pace.*,
    coalesce(texts.texts, []) as texts
from pace
left join texts using (run, stage, component, model)
order by run, stage, component, model
