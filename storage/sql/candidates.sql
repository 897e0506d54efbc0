-- One row per candidate of the temporary table `candidates`, in no order.
select *
from candidates
