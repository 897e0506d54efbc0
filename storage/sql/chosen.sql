-- One row per chosen feature: those between two densities, of which at most $n (all if null) at random.
with between_bounds as (
    select
        feature,
        row_number() over (order by hash(feature, $seed), feature) as place
    from read_parquet($features, hive_partitioning = false)
    where density between $low and $high
)

select feature
from between_bounds
where $n is null or place <= $n
order by feature
