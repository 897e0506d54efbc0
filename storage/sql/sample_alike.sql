-- Temporary table `alike`: one row per window of `placed` that is left out because the feature fires in an earlier
-- window with the same text. Needs `placed` and `window_texts`.
create or replace temporary table alike as
select
    placed.row,
    placed.feature
from placed
inner join window_texts on placed.origin = window_texts.origin
where window_texts.repeated
qualify row_number() over (partition by placed.feature, window_texts.text order by placed.origin) > 1
