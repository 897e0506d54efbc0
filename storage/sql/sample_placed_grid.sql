-- View `placed`: the windows of the bucket that contexts are drawn from, those of the grid. Needs `fired`.
create or replace temporary view placed as
select
    feature,
    origin,
    peak
from fired
