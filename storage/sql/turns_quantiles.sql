-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it does: first one of
-- each tenth by rank, the strongest tenth first, then a second one of each, at random inside the tenth (paper, 3.2).
-- Needs `shuffled`; no tenth gives more than $explain.
create or replace temporary table turns as
select
    feature,
    decile,
    origin,
    peak,
    rank,
    place * 10 + decile as turn
from shuffled
where side != 'score' and place < $explain
