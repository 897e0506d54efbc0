-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it gets it: the
-- strongest first. Needs `windows`; no decile gives more than $explain.
create or replace temporary table turns as
select
    feature,
    decile,
    origin,
    peak,
    rank,
    rank as turn
from windows
where side != 'score'
qualify row_number() over (partition by feature, decile order by rank) <= $explain
