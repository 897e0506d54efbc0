-- Temporary table `cuts`: one row per feature whose documents are kept apart: the last document of the explainer's in
-- their random order (`segments`). All documents of the cache up to it, also those in which the feature is silent, are
-- the explainer's; those after it are the scorers'. Needs `sides` and `drawable`.
create or replace temporary table cuts as
select
    sides.feature,
    max(sides.random) as last
from sides
semi join drawable on sides.feature = drawable.feature and drawable.apart = 'document'
where sides.side = 'explain'
group by sides.feature
