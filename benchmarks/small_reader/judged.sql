-- One row per scorer: how many verdicts were asked for, the share without one, the share that says yes, and the
-- correlation of saying yes with the context's place in its question, null where each stands alone.
select
    scorer,
    count(*) as asked,
    avg((verdict is null)::int) as unreadable,
    avg(verdict::int) as yes,
    case when max(place) > 1 then corr(verdict::int, place) end as by_place
from judgements
where run = $run and control = 'none'
group by scorer
order by scorer
