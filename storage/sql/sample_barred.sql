-- Temporary table `barred`: one row per feature and stretch of a sequence that no further context for one role may
-- touch: all that the cache holds of the documents in which contexts of the other role, $other, lie. Needs `drawn` and
-- `segments`.
create or replace temporary table barred as
with others as (
    select distinct
        drawn.feature,
        segments.document
    from drawn
    inner join segments
        on
            drawn.sequence = segments.sequence
            and drawn.start < segments.end
            and drawn.start + $window > segments.first
    where drawn.role = $other
)

select
    others.feature,
    segments.sequence,
    segments.first,
    segments.end
from others
inner join segments using (document)
