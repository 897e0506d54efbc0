-- One row per feature of the bucket that is sampled, and how many windows its contexts are drawn from. Needs
-- `drawable`.
select
    feature,
    candidates
from drawable
where status = 'sampled'
order by feature
