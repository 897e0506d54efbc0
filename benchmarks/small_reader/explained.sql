-- One row per explainer: how many features it was asked about, and shares of them: with an explanation; whose reply
-- repeats a few-shot answer, word for word or nearly; was cut off; or has no tag. Of the explanations, the share whose
-- words another feature's have as well.
with replies as (
    select
        explainer,
        text,
        coalesce(reason, '') as reason,
        coalesce(finish_reason = 'length', false) as cut,
        text is not null and count(*) over (partition by explainer, lower(text)) > 1 as repeated
    from explanations
    where run = $run
)

select
    explainer,
    count(*) as asked,
    avg((text is not null)::int) as explained,
    avg(starts_with(reason, 'it repeats the example answer')::int) as copied,
    avg(cut::int) as cut,
    avg(starts_with(reason, 'no line EXPLANATION:')::int) as untagged,
    avg(repeated::int) filter (where text is not null) as repeated
from replies
group by explainer
order by explainer
