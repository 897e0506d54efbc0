-- View `windows`: the rows of `ranked`, which either reader may be shown (`side`). Needs `ranked`.
create or replace temporary view windows as
select
    *,
    'either' as side
from ranked
