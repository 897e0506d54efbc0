-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it gets it: at random,
-- every window with the same probability. Needs `shuffled`; no decile gives more than $explain.
create or replace temporary table turns as
select
    feature,
    decile,
    origin,
    peak,
    rank,
    random as turn
from shuffled
where side != 'score' and place < $explain
