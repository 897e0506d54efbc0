-- One row per context, in the order in which those of a feature are numbered. Needs `drawn`.
select
    $coder as coder,
    feature,
    role,
    kind,
    decile,
    near,
    distance,
    other,
    sequence,
    start,
    peak
from drawn
order by feature, role, kind, decile nulls last, place, sequence, start
