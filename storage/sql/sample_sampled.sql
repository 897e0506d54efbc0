-- One row per feature of the bucket that is sampled, with the number of windows that its contexts are drawn from, and
-- whether its documents are kept apart. Needs `drawable`.
select
    feature,
    candidates,
    apart
from drawable
where status = 'sampled'
order by feature
