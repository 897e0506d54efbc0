-- One row per feature of the bucket that is sampled, with the number of windows that its contexts are drawn from. Needs
-- `drawable`.
select
    feature,
    candidates
from drawable
where status = 'sampled'
order by feature
