-- Temporary table `turns`: one row per window that the explainer may get, with the turn in which it gets it: at random
-- without replacement, each time with a probability proportional to the peak. Exponential clocks do it (Efraimidis and
-- Spirakis 2006): the smallest -ln(u) / peak is first. Windows that peak at 0 or below come last. Needs `windows`.
create or replace temporary table turns as
with drawn as (
    select
        *,
        ((random >> 11)::double + 0.5) / 9007199254740992 as uniform
    from windows
    where side != 'score'
),

clocks as (
    select
        *,
        if(peak > 0, -ln(uniform) / peak::double, 'infinity'::double) as turn
    from drawn
)

select
    feature,
    decile,
    origin,
    peak,
    rank,
    turn
from clocks
qualify row_number() over (partition by feature, decile order by turn, origin) <= $explain
