-- The rows of `candidates`, in no order.
select *
from candidates
