-- View `windows`: one row per window of `ranked` that a reader may be shown, with `side`: the explainer, the scorers,
-- or either of them, as where only windows are kept apart. Needs `ranked`, `drawable` and `sides`.
create or replace temporary view windows as
with kept as (
    select sides.*
    from sides
    semi join drawable on sides.feature = drawable.feature and drawable.apart = 'document'
)

select
    ranked.*,
    coalesce(kept.side, 'either') as side
from ranked
semi join drawable on ranked.feature = drawable.feature and drawable.status = 'sampled'
left join kept on ranked.feature = kept.feature and ranked.origin = kept.origin
where coalesce(kept.side, 'either') != 'neither'
