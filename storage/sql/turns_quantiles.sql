-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it gets it: first one
-- of each decile by rank, the strongest decile first, then a second one of each, at random inside the decile (paper,
-- 3.2). Needs `shuffled`; no decile gives more than $explain.
create or replace temporary table turns as
select
    feature,
    decile,
    origin,
    peak,
    rank,
    place * $deciles + decile as turn
from shuffled
where side != 'score' and place < $explain
