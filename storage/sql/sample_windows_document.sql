-- View `windows`: one row per window of `ranked` that a reader may be shown, with `side`: the explainer, the scorers,
-- or either of them. Needs `ranked`, `drawable` and `sides`.
create or replace temporary view windows as
select
    ranked.*,
    coalesce(sides.side, 'either') as side
from ranked
semi join drawable on ranked.feature = drawable.feature and drawable.status = 'sampled'
left join sides on ranked.feature = sides.feature and ranked.origin = sides.origin
where coalesce(sides.side, 'either') != 'neither'
