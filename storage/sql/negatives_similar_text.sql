-- Temporary table `candidates`: one row per feature and silent window whose text is near to those that the explainer is
-- shown, the nearest first. Needs `texts_nearby`.
create or replace temporary table candidates as
select
    feature,
    sequence,
    start,
    turn,
    null::integer as near,
    greatest(0, distance)::float as distance
from texts_nearby
