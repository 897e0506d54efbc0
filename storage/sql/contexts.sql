-- One row per context, in their order. Needs `numbered`.
select
    $coder as coder,
    feature,
    context,
    role,
    kind,
    decile,
    near,
    distance,
    sequence,
    start,
    peak
from numbered
order by feature, context
