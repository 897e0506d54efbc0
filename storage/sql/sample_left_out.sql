-- One row per window of `placed` that is left out: its row number there. Needs `alike`.
select row
from alike
order by row
