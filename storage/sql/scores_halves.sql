-- Temporary table `judged`: its questions about explanations and features themselves in two random halves, which stand
-- in `control` as `split/half`; $splits times. Halves are drawn by the hash of the question, or of the context where a
-- question lists no examples and judges each context by itself, as far as possible with as many of each class. Where
-- the two questions of one context are in different halves, as can be with fuzzing's `marks: active`, it is in one of
-- them only: halves are compared as if nothing but the explanation were common to them.
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
            partition by units.feature, units.replicate, splits.split
            order by
                units.all_active,
                units.any_active,
                md5(concat_ws('/', splits.split, units.feature, units.replicate, units.unit))
        ) % 2 as half
    from units
    cross join splits
),

placed as (
    select
        own.*,
        halves.split,
        halves.half,
        min(halves.half) over showings < max(halves.half) over showings as torn
    from own
    inner join halves using (feature, replicate, unit)
    window showings as (partition by own.feature, own.replicate, halves.split, own.context)
)

select * exclude (unit, split, half, torn) replace (concat_ws('/', split, half) as control) -- noqa: PRS
from placed
where not torn or truth = (md5(concat_ws('/', split, feature, replicate, context)) < '8')
