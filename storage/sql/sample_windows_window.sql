-- View `windows`: one row per window of `ranked`; its `side` is `either` reader. Needs `ranked`.
create or replace temporary view windows as
select
    *,
    'either' as side
from ranked
