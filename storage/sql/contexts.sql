-- One row per context: the chosen windows of `drawn` with their tokens and the feature's activations on them.
-- `drawn` is the temporary table of activating and non-activating windows; $tokens: parts of `tokens`.
with numbered as (
    select
        *,
        row_number() over (
            partition by feature
            order by role, kind, decile nulls last, place, sequence, slot
        ) - 1 as context
    from drawn
),

spelled as (
    select
        numbered.*,
        read.tokens[numbered.slot * $window + 1:(numbered.slot + 1) * $window] as tokens,
        read.strings[numbered.slot * $window + 1:(numbered.slot + 1) * $window] as strings
    from numbered
    inner join read_parquet($tokens, hive_partitioning = false) as read on numbered.sequence = read.sequence
),

fired as (
    select
        numbered.feature,
        numbered.context,
        map(
            list(firings.position - numbered.slot * $window),
            list(firings.activation)
        ) as fired
    from numbered
    inner join firings
        on
            numbered.feature = firings.feature
            and numbered.sequence = firings.sequence
            and numbered.slot = firings.slot
    group by numbered.feature, numbered.context
)

select
    $coder as coder,
    spelled.feature,
    spelled.context,
    spelled.role,
    spelled.kind,
    spelled.decile,
    spelled.sequence,
    spelled.slot * $window as start,
    spelled.tokens,
    spelled.strings,
    list_transform(
        range($window), lambda position: coalesce(fired.fired[position::integer], 0::float)
    ) as activations,
    spelled.peak,
    spelled.peak_position
from spelled
left join fired using (feature, context)
order by spelled.feature, spelled.context
