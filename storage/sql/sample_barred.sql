-- Temporary table `barred`: one row per feature and stretch of a sequence that no further context of one role may
-- overlap: all segments of the documents that hold contexts of the other role, $other, of features whose documents are
-- kept apart. Needs `drawn`, `drawable` and `segments`.
create or replace temporary table barred as
with others as (
    select distinct
        drawn.feature,
        segments.document
    from drawn
    inner join drawable on drawn.feature = drawable.feature and drawable.apart = 'document'
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
