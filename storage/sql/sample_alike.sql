-- Temporary table `alike`: one row per window of `placed` that is left out because an earlier one in which the
-- feature fires has the same text. Needs `placed` and `told`.
create or replace temporary table alike as
select
    placed.row,
    placed.feature
from placed
inner join told on placed.origin = told.origin
where told.repeated
qualify row_number() over (partition by placed.feature, told.text order by placed.origin) > 1
