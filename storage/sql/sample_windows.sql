-- One row per window of `windows`, in no order.
select *
from windows
