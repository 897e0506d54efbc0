-- The rows of `windows`, in no order.
select *
from windows
