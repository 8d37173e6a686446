;; LZ4 blocks and XXH32 over a memory that the caller lays out.
;; https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md and https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
;; Copies run up to 15 bytes past what they copy: behind input and output the caller leaves 16 bytes that nobody needs.
(module
  (import "e" "m" (memory 1))

  ;; Compresses n bytes at src to dst; returns how many there are. table: 1 << 13 words. Room at dst: n + n / 255 + 32.
  (func (export "compress") (param $src i32) (param $n i32) (param $dst i32) (param $table i32) (result i32)
    (local $ip i32) (local $anchor i32) (local $end i32) (local $mflimit i32) (local $matchlimit i32)
    (local $op i32) (local $ref i32) (local $next i32) (local $step i32) (local $count i32)
    (local $len i32) (local $token i32) (local $slot i32) (local $from i32) (local $to i32) (local $x i64)
    (local.set $anchor (local.get $src))
    (local.set $op (local.get $dst))
    (local.set $end (i32.add (local.get $src) (local.get $n)))
    (block $last
      (br_if $last (i32.lt_u (local.get $n) (i32.const 13)))
      ;; The last match begins at least 12 bytes before the end, and the last 5 bytes are literals.
      (local.set $mflimit (i32.sub (local.get $end) (i32.const 12)))
      (local.set $matchlimit (i32.sub (local.get $end) (i32.const 5)))
      (memory.fill (local.get $table) (i32.const 0) (i32.const 32768))
      (local.set $ip (i32.add (local.get $src) (i32.const 1)))
      (loop $search
        ;; Probe further and further apart the longer nothing is found.
        (local.set $next (local.get $ip))
        (local.set $step (i32.const 1))
        (local.set $count (i32.const 65))
        (block $found
          (loop $probe
            (local.set $ip (local.get $next))
            (br_if $last (i32.gt_u (local.get $ip) (local.get $mflimit)))
            (local.set $next (i32.add (local.get $ip) (local.get $step)))
            (local.set $step (i32.shr_u (local.get $count) (i32.const 6)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (local.set $slot (i32.add (local.get $table) (i32.shl (i32.wrap_i64 (i64.shr_u
              (i64.mul (i64.shl (i64.load (local.get $ip)) (i64.const 24)) (i64.const 889523592379)) (i64.const 51))) (i32.const 2))))
            (local.set $ref (i32.load (local.get $slot)))
            (i32.store (local.get $slot) (local.get $ip))
            (br_if $probe (i32.eqz (local.get $ref)))
            (br_if $probe (i32.gt_u (i32.sub (local.get $ip) (local.get $ref)) (i32.const 65535)))
            (br_if $probe (i32.ne (i32.load (local.get $ref)) (i32.load (local.get $ip))))))
        ;; Backwards, as far as both sides are equal.
        (block $caught
          (loop $back
            (br_if $caught (i32.le_u (local.get $ip) (local.get $anchor)))
            (br_if $caught (i32.le_u (local.get $ref) (local.get $src)))
            (br_if $caught (i32.ne (i32.load8_u (i32.sub (local.get $ip) (i32.const 1)))
              (i32.load8_u (i32.sub (local.get $ref) (i32.const 1)))))
            (local.set $ip (i32.sub (local.get $ip) (i32.const 1)))
            (local.set $ref (i32.sub (local.get $ref) (i32.const 1)))
            (br $back)))
        ;; Literals.
        (local.set $len (i32.sub (local.get $ip) (local.get $anchor)))
        (local.set $token (local.get $op))
        (local.set $op (i32.add (local.get $op) (i32.const 1)))
        (if (i32.ge_u (local.get $len) (i32.const 15))
          (then
            (i32.store8 (local.get $token) (i32.const 240))
            (local.set $step (i32.sub (local.get $len) (i32.const 15)))
            (block $written
              (loop $more
                (br_if $written (i32.lt_u (local.get $step) (i32.const 255)))
                (i32.store8 (local.get $op) (i32.const 255))
                (local.set $op (i32.add (local.get $op) (i32.const 1)))
                (local.set $step (i32.sub (local.get $step) (i32.const 255)))
                (br $more)))
            (i32.store8 (local.get $op) (local.get $step))
            (local.set $op (i32.add (local.get $op) (i32.const 1))))
          (else (i32.store8 (local.get $token) (i32.shl (local.get $len) (i32.const 4)))))
        (local.set $from (local.get $anchor))
        (local.set $to (local.get $op))
        (local.set $op (i32.add (local.get $op) (local.get $len)))
        (loop $literals
          (i64.store (local.get $to) (i64.load (local.get $from)))
          (i64.store offset=8 (local.get $to) (i64.load offset=8 (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (local.set $to (i32.add (local.get $to) (i32.const 16)))
          (br_if $literals (i32.lt_u (local.get $to) (local.get $op))))
        (loop $match
          (i32.store16 (local.get $op) (i32.sub (local.get $ip) (local.get $ref)))
          (local.set $op (i32.add (local.get $op) (i32.const 2)))
          ;; Forwards, eight bytes at a time; 4 are equal already.
          (local.set $from (i32.add (local.get $ip) (i32.const 4)))
          (local.set $ref (i32.add (local.get $ref) (i32.const 4)))
          (local.set $len (local.get $from))
          (block $counted
            (block $tail
              (loop $eight
                (br_if $tail (i32.gt_u (i32.add (local.get $from) (i32.const 8)) (local.get $matchlimit)))
                (local.set $x (i64.xor (i64.load (local.get $from)) (i64.load (local.get $ref))))
                (if (i64.ne (local.get $x) (i64.const 0))
                  (then
                    (local.set $from (i32.add (local.get $from)
                      (i32.shr_u (i32.wrap_i64 (i64.ctz (local.get $x))) (i32.const 3))))
                    (br $counted)))
                (local.set $from (i32.add (local.get $from) (i32.const 8)))
                (local.set $ref (i32.add (local.get $ref) (i32.const 8)))
                (br $eight)))
            (loop $one
              (br_if $counted (i32.ge_u (local.get $from) (local.get $matchlimit)))
              (br_if $counted (i32.ne (i32.load8_u (local.get $from)) (i32.load8_u (local.get $ref))))
              (local.set $from (i32.add (local.get $from) (i32.const 1)))
              (local.set $ref (i32.add (local.get $ref) (i32.const 1)))
              (br $one)))
          (local.set $ip (local.get $from))
          (local.set $len (i32.sub (local.get $from) (local.get $len)))
          (if (i32.ge_u (local.get $len) (i32.const 15))
            (then
              (i32.store8 (local.get $token) (i32.add (i32.load8_u (local.get $token)) (i32.const 15)))
              (local.set $len (i32.sub (local.get $len) (i32.const 15)))
              (block $written
                (loop $more
                  (br_if $written (i32.lt_u (local.get $len) (i32.const 255)))
                  (i32.store8 (local.get $op) (i32.const 255))
                  (local.set $op (i32.add (local.get $op) (i32.const 1)))
                  (local.set $len (i32.sub (local.get $len) (i32.const 255)))
                  (br $more)))
              (i32.store8 (local.get $op) (local.get $len))
              (local.set $op (i32.add (local.get $op) (i32.const 1))))
            (else (i32.store8 (local.get $token) (i32.add (i32.load8_u (local.get $token)) (local.get $len)))))
          (local.set $anchor (local.get $ip))
          (br_if $last (i32.gt_u (local.get $ip) (local.get $mflimit)))
          (local.set $from (i32.sub (local.get $ip) (i32.const 2)))
          (i32.store (i32.add (local.get $table) (i32.shl (i32.wrap_i64 (i64.shr_u
            (i64.mul (i64.shl (i64.load (local.get $from)) (i64.const 24)) (i64.const 889523592379)) (i64.const 51))) (i32.const 2)))
            (local.get $from))
          ;; A match right behind a match needs no literals.
          (local.set $slot (i32.add (local.get $table) (i32.shl (i32.wrap_i64 (i64.shr_u
            (i64.mul (i64.shl (i64.load (local.get $ip)) (i64.const 24)) (i64.const 889523592379)) (i64.const 51))) (i32.const 2))))
          (local.set $ref (i32.load (local.get $slot)))
          (i32.store (local.get $slot) (local.get $ip))
          (if (i32.ne (local.get $ref) (i32.const 0))
            (then (if (i32.le_u (i32.sub (local.get $ip) (local.get $ref)) (i32.const 65535))
              (then (if (i32.eq (i32.load (local.get $ref)) (i32.load (local.get $ip)))
                (then
                  (local.set $token (local.get $op))
                  (i32.store8 (local.get $op) (i32.const 0))
                  (local.set $op (i32.add (local.get $op) (i32.const 1)))
                  (br $match))))))))
        (local.set $ip (i32.add (local.get $ip) (i32.const 1)))
        (br $search)))
    ;; What is left is literals.
    (local.set $len (i32.sub (local.get $end) (local.get $anchor)))
    (local.set $token (local.get $op))
    (local.set $op (i32.add (local.get $op) (i32.const 1)))
    (if (i32.ge_u (local.get $len) (i32.const 15))
      (then
        (i32.store8 (local.get $token) (i32.const 240))
        (local.set $step (i32.sub (local.get $len) (i32.const 15)))
        (block $written
          (loop $more
            (br_if $written (i32.lt_u (local.get $step) (i32.const 255)))
            (i32.store8 (local.get $op) (i32.const 255))
            (local.set $op (i32.add (local.get $op) (i32.const 1)))
            (local.set $step (i32.sub (local.get $step) (i32.const 255)))
            (br $more)))
        (i32.store8 (local.get $op) (local.get $step))
        (local.set $op (i32.add (local.get $op) (i32.const 1))))
      (else (i32.store8 (local.get $token) (i32.shl (local.get $len) (i32.const 4)))))
    (memory.copy (local.get $op) (local.get $anchor) (local.get $len))
    (return (i32.sub (i32.add (local.get $op) (local.get $len)) (local.get $dst))))

  ;; Decompresses n bytes at src to at most room bytes at dst; matches reach back to low. Returns how many, or -1 when the
  ;; block is malformed. Nothing is read before low or written past dst + room + 15, whatever src holds.
  (func (export "decompress") (param $src i32) (param $n i32) (param $dst i32) (param $room i32) (param $low i32) (result i32)
    (local $op i32) (local $iend i32) (local $oend i32) (local $token i32) (local $len i32) (local $byte i32)
    (local $ref i32) (local $to i32) (local $from i32)
    (local.set $op (local.get $dst))
    (local.set $iend (i32.add (local.get $src) (local.get $n)))
    (local.set $oend (i32.add (local.get $dst) (local.get $room)))
    (block $malformed
      (loop $sequence
        (br_if $malformed (i32.ge_u (local.get $src) (local.get $iend)))
        (local.set $token (i32.load8_u (local.get $src)))
        (local.set $src (i32.add (local.get $src) (i32.const 1)))
        (local.set $len (i32.shr_u (local.get $token) (i32.const 4)))
        (if (i32.eq (local.get $len) (i32.const 15))
          (then
            (loop $more
              (br_if $malformed (i32.ge_u (local.get $src) (local.get $iend)))
              (local.set $byte (i32.load8_u (local.get $src)))
              (local.set $src (i32.add (local.get $src) (i32.const 1)))
              (local.set $len (i32.add (local.get $len) (local.get $byte)))
              (br_if $malformed (i32.gt_u (local.get $len) (local.get $room)))
              (br_if $more (i32.eq (local.get $byte) (i32.const 255))))))
        (br_if $malformed (i32.gt_u (local.get $len) (i32.sub (local.get $iend) (local.get $src))))
        (br_if $malformed (i32.gt_u (local.get $len) (i32.sub (local.get $oend) (local.get $op))))
        (local.set $from (local.get $src))
        (local.set $to (local.get $op))
        (local.set $src (i32.add (local.get $src) (local.get $len)))
        (local.set $op (i32.add (local.get $op) (local.get $len)))
        (loop $literals
          (i64.store (local.get $to) (i64.load (local.get $from)))
          (i64.store offset=8 (local.get $to) (i64.load offset=8 (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (local.set $to (i32.add (local.get $to) (i32.const 16)))
          (br_if $literals (i32.lt_u (local.get $to) (local.get $op))))
        ;; The last sequence ends with its literals.
        (if (i32.eq (local.get $src) (local.get $iend))
          (then (return (i32.sub (local.get $op) (local.get $dst)))))
        (br_if $malformed (i32.lt_u (i32.sub (local.get $iend) (local.get $src)) (i32.const 2)))
        (local.set $byte (i32.load16_u (local.get $src)))
        (local.set $src (i32.add (local.get $src) (i32.const 2)))
        (br_if $malformed (i32.eqz (local.get $byte)))
        (br_if $malformed (i32.gt_u (local.get $byte) (i32.sub (local.get $op) (local.get $low))))
        (local.set $ref (i32.sub (local.get $op) (local.get $byte)))
        (local.set $len (i32.and (local.get $token) (i32.const 15)))
        (local.set $from (local.get $byte))
        (if (i32.eq (local.get $len) (i32.const 15))
          (then
            (loop $more
              (br_if $malformed (i32.ge_u (local.get $src) (local.get $iend)))
              (local.set $byte (i32.load8_u (local.get $src)))
              (local.set $src (i32.add (local.get $src) (i32.const 1)))
              (local.set $len (i32.add (local.get $len) (local.get $byte)))
              (br_if $malformed (i32.gt_u (local.get $len) (local.get $room)))
              (br_if $more (i32.eq (local.get $byte) (i32.const 255))))))
        (local.set $len (i32.add (local.get $len) (i32.const 4)))
        (br_if $malformed (i32.gt_u (local.get $len) (i32.sub (local.get $oend) (local.get $op))))
        (local.set $to (local.get $op))
        (local.set $op (i32.add (local.get $op) (local.get $len)))
        (if (i32.ge_u (local.get $from) (i32.const 8))
          (then
            (loop $eight
              (i64.store (local.get $to) (i64.load (local.get $ref)))
              (local.set $ref (i32.add (local.get $ref) (i32.const 8)))
              (local.set $to (i32.add (local.get $to) (i32.const 8)))
              (br_if $eight (i32.lt_u (local.get $to) (local.get $op)))))
          (else
            (loop $one
              (i32.store8 (local.get $to) (i32.load8_u (local.get $ref)))
              (local.set $ref (i32.add (local.get $ref) (i32.const 1)))
              (local.set $to (i32.add (local.get $to) (i32.const 1)))
              (br_if $one (i32.lt_u (local.get $to) (local.get $op))))))
        (br $sequence)))
    (return (i32.const -1)))

  ;; XXH32 over whole stripes of 16 bytes from at to end; the four sums stand at state.
  (func (export "stripes") (param $at i32) (param $end i32) (param $state i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local.set $a (i32.load (local.get $state)))
    (local.set $b (i32.load offset=4 (local.get $state)))
    (local.set $c (i32.load offset=8 (local.get $state)))
    (local.set $d (i32.load offset=12 (local.get $state)))
    (block $done
      (loop $stripe
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $a (i32.mul (i32.rotl (i32.add (local.get $a)
          (i32.mul (i32.load (local.get $at)) (i32.const -2048144777))) (i32.const 13)) (i32.const -1640531535)))
        (local.set $b (i32.mul (i32.rotl (i32.add (local.get $b)
          (i32.mul (i32.load offset=4 (local.get $at)) (i32.const -2048144777))) (i32.const 13)) (i32.const -1640531535)))
        (local.set $c (i32.mul (i32.rotl (i32.add (local.get $c)
          (i32.mul (i32.load offset=8 (local.get $at)) (i32.const -2048144777))) (i32.const 13)) (i32.const -1640531535)))
        (local.set $d (i32.mul (i32.rotl (i32.add (local.get $d)
          (i32.mul (i32.load offset=12 (local.get $at)) (i32.const -2048144777))) (i32.const 13)) (i32.const -1640531535)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $stripe)))
    (i32.store (local.get $state) (local.get $a))
    (i32.store offset=4 (local.get $state) (local.get $b))
    (i32.store offset=8 (local.get $state) (local.get $c))
    (i32.store offset=12 (local.get $state) (local.get $d))))
