-- One row per coder: how many of its features a run chose, explained, failed to explain and skipped. A feature that one
-- explainer explained is explained, whoever else failed to.
with counted as (
    select
        coder,
        feature,
        any_value(status) as status,
        bool_or(status = 'explained') as is_explained,
        bool_or(status = 'failed') as has_failed
    from summary
    group by coder, feature
)

select
    coder,
    count(*) as width,
    count(*) filter (where status != 'not chosen') as chosen,
    count(*) filter (where is_explained) as explained,
    count(*) filter (where status = 'skipped') as skipped,
    count(*) filter (where has_failed and not is_explained) as failed
from counted
group by coder
order by coder
