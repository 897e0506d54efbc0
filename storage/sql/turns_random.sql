-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it does: at random,
-- all windows alike. Needs `shuffled`; no tenth gives more than $explain.
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
