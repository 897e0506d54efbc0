-- Temporary table `numbered`: the windows of `drawn`, numbered in their order within their feature.
create or replace temporary table numbered as
select
    *,
    row_number() over (
        partition by feature
        order by role, kind, decile nulls last, place, sequence, start
    ) - 1 as context
from drawn
