-- Temporary table `judged`: its questions about explanations and features themselves in two random halves, which stand
-- in `control` as `split/half`; $splits times. Halves are drawn by the hash of the question, or of the context where a
-- question lists no examples and judges each context by itself, as far as possible with as many of each class.
create or replace temp table judged as
with own as (
    select
        *,
        if(place is null, context::varchar, request) as unit
    from judged
    where control = 'none'
),

units as (
    select
        feature,
        replicate,
        unit,
        bool_and(truth) as all_active,
        bool_or(truth) as any_active
    from own
    group by feature, replicate, unit
),

splits as (
    select unnest(range($splits)) as split
),

halves as (
    select
        units.feature,
        units.replicate,
        units.unit,
        splits.split,
        row_number() over (
            partition by units.feature, units.replicate, splits.split, units.all_active, units.any_active
            order by md5(concat_ws('/', splits.split, units.feature, units.replicate, units.unit))
        ) % 2 as half
    from units
    cross join splits
)

select own.* exclude (unit) replace (concat_ws('/', halves.split, halves.half) as control) -- noqa: PRS
from own
inner join halves using (feature, replicate, unit)
