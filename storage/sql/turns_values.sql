-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it gets it: first one
-- of each tenth of the range from the feature's largest activation down to 0, the strongest tenth first, then a second
-- one of each, at random inside it. A tenth without windows is skipped; a peak below 0 counts as 0. Needs `windows` and
-- `drawable`; no decile by rank gives more than $explain.
create or replace temporary table turns as
with binned as (
    select
        windows.*,
        greatest(
            0, least($deciles - 1, floor((1 - windows.peak::double / drawable.max::double) * $deciles))
        )::integer as bin
    from windows
    inner join drawable using (feature)
    where windows.side != 'score'
)

select
    feature,
    decile,
    origin,
    peak,
    rank,
    row_number() over (partition by feature, bin order by random, origin) * $deciles + bin as turn
from binned
qualify row_number() over (partition by feature, decile, bin order by random, origin) <= $explain
