-- Adds to `spoken` one row per feature of [$first, $end) and token on which it fires in some shards, with the sum of
-- its activations in integers of 2^-64 and the size of the strongest. $activations: their parts of one coder; $tokens:
-- their parts of `tokens`.
-- Every match copies the list that it finds: pieces of 32 tokens are joined twice as fast as whole sequences, and take
-- a sixth of the memory of single tokens.
insert into spoken
with firings as (
    select
        feature,
        activation,
        sequence,
        position // 32 as piece,
        position % 32 + 1 as place
    from read_parquet($activations, hive_partitioning = false)
    where feature >= $first and feature < $end
),

cut as (
    select
        sequence,
        tokens,
        unnest(range((len(tokens) + 31) // 32)) as piece
    from read_parquet($tokens, hive_partitioning = false)
),

pieces as (
    select
        sequence,
        piece,
        tokens[piece * 32 + 1:piece * 32 + 32] as tokens
    from cut
)

select
    firings.feature,
    pieces.tokens[firings.place] as token,
    count(*) as firings,
    sum((firings.activation::double * 18446744073709551616)::hugeint) as total,
    max(abs(firings.activation)) as strongest
from firings
inner join pieces on firings.sequence = pieces.sequence and firings.piece = pieces.piece
group by firings.feature, token
