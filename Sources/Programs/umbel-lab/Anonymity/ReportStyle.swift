/// How the report looks: light and dark, from a telephone's width up.
enum ReportStyle {
    static let css = """
        :root { --ink:#1d1830; --soft:#5d5675; --paper:#f6f4fb; --card:#fff; --line:#ddd7ec;
          --accent:#6a3fc4; --second:#00747c; --other:#8b84a3; --good:#1c7a3f; --bad:#b3261e;
          --c0:#6a3fc4; --c1:#00747c; --c2:#b45f06; --c3:#b3261e; --c4:#1c7a3f; --c5:#2458b8;
          --c6:#a1337f; --c7:#5d5675; --c8:#7a6a00; --c9:#1d1830; }
        @media (prefers-color-scheme: dark) { :root { --ink:#ece8f8; --soft:#aaa2c4; --paper:#14101f;
          --card:#1e1830; --line:#352c4e; --accent:#b79bff; --second:#4fd0d6; --other:#8b84a3;
          --good:#6fd694; --bad:#ff8f86; --c0:#b79bff; --c1:#4fd0d6; --c2:#f4b45c; --c3:#ff8f86;
          --c4:#6fd694; --c5:#8cb4ff; --c6:#f08fd0; --c7:#aaa2c4; --c8:#e3d26a; --c9:#ece8f8; } }
        * { box-sizing:border-box; }
        body { margin:0; background:var(--paper); color:var(--ink);
          font:15px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif; }
        header, main, footer { max-width:1240px; margin:0 auto; padding:0 1rem; }
        header { padding-top:1.2rem; } header p { max-width:75ch; } h1 { margin:0; font-size:1.6rem; }
        h2 { margin:0 0 .2rem; font-size:1.05rem; } p { margin:.2rem 0 .6rem; color:var(--soft); }
        section, figure { background:var(--card); border:1px solid var(--line); border-radius:12px;
          padding:.9rem; margin:0 0 1rem; min-width:0; }
        .grid { display:grid; gap:1rem; grid-template-columns:repeat(auto-fit,minmax(min(100%,350px),1fr));
          margin-bottom:1rem; }
        figure { margin:0; display:flex; flex-direction:column; }
        svg { width:100%; max-width:480px; height:auto; display:block; margin:0 auto; }
        text.t { font-size:11px; fill:var(--soft); } text.ours { fill:var(--ink); font-weight:650; }
        .grid svg line.grid { stroke:var(--line); } line.mark { stroke:var(--soft); stroke-dasharray:4 3; }
        line.lead { stroke:var(--soft); stroke-width:.7; }
        line.range { stroke-width:3; stroke-opacity:.45; stroke-linecap:round; }
        .s0 { --k:var(--accent); } .s1 { --k:var(--second); } .other { --k:var(--other); }
        .c0 { --k:var(--c0); } .c1 { --k:var(--c1); } .c2 { --k:var(--c2); } .c3 { --k:var(--c3); }
        .c4 { --k:var(--c4); } .c5 { --k:var(--c5); } .c6 { --k:var(--c6); } .c7 { --k:var(--c7); }
        .c8 { --k:var(--c8); } .c9 { --k:var(--c9); }
        line.range, polyline.curve { stroke:var(--k); } circle.dot { fill:var(--k); }
        polyline.curve { fill:none; stroke-width:2; stroke-linejoin:round; }
        polyline.c1, polyline.c5, polyline.c8 { stroke-dasharray:6 3; }
        polyline.c2, polyline.c6, polyline.c9 { stroke-dasharray:2 3; }
        .legend { list-style:none; margin:.4rem 0; padding:0; display:flex; flex-wrap:wrap; gap:.2rem .9rem;
          font-size:.82rem; color:var(--soft); }
        .legend i { display:inline-block; width:.8em; height:.8em; border-radius:50%; margin-right:.35em;
          background:var(--k); }
        details { margin-top:auto; } summary { cursor:pointer; color:var(--accent); font-size:.88rem; }
        .scroll { overflow-x:auto; } table { border-collapse:collapse; font-size:.83rem; min-width:100%; }
        th, td { text-align:right; padding:.28rem .6rem; border-bottom:1px solid var(--line);
          font-variant-numeric:tabular-nums; white-space:nowrap; }
        thead th { white-space:normal; vertical-align:bottom; color:var(--soft); font-weight:600;
          min-width:4.2rem; }
        th:first-child { text-align:left; position:sticky; left:0; background:var(--card); }
        .targets ul { list-style:none; margin:0; padding:0; display:grid; gap:.2rem; }
        .targets li { display:grid; grid-template-columns:7em 1fr; } .met b { color:var(--good); }
        .missed b { color:var(--bad); } footer { padding-bottom:2rem; max-width:1240px; }
        """
}
