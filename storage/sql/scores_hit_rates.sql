-- Temporary table: one row per explanation and control, with its recall by decile as a list, the strongest first.
create or replace temp table hit_rates as
with deciles as (
    select
        feature,
        replicate,
        control,
        decile,
        avg(verdict::integer) as hit_rate
    from judged
    where decile is not null and truth
    group by feature, replicate, control, decile
),

every as (
    select
        verdicts.feature,
        verdicts.replicate,
        verdicts.control,
        tenths.decile
    from verdicts
    cross join range(10) as tenths (decile)
)

select
    every.feature,
    every.replicate,
    every.control,
    list(deciles.hit_rate order by every.decile) as hit_rates
from every
left join deciles using (feature, replicate, control, decile)
group by every.feature, every.replicate, every.control
