-- View `told`: one row per window that may be drawn, with a hash of its tokens, and whether another one has the same
-- text. Needs `texts`.
create or replace temporary view told as
select
    origin,
    text,
    repeated
from texts
