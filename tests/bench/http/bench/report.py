"""What was measured, as a table and as a picture: ratios to HAProxy, in the same run."""

PEER = "HAProxy"
#: Of the picture, in pixels.
WIDTH, BAR, GAP, LEFT, TOP = 720, 14, 22, 150, 60
#: Where the picture ends, as a ratio.
MOST = 2.0
COLOURS = {"rustbalance": "#7d4698", "nginx": "#9aa5b1"}


def name(row: dict) -> str:
    return f"{row['body']}, {row['connections']}"


def ratios(row: dict, proxy: str) -> dict[str, float]:
    """Above one is better than the peer in the first two, and worse in the last two."""
    own, peer = row[proxy], row[PEER]
    return {
        "requests": own["per_second"] / peer["per_second"],
        "per_cpu": peer["cpu_us"] / own["cpu_us"],
        "p99": own["p99_ms"] / peer["p99_ms"],
        "rss": own["rss_mib"] / peer["rss_mib"],
    }


def table(results: list[dict]) -> str:
    lines = [
        "| body, connections | proxy | requests/s | per processor second | p99 | memory | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results:
        for proxy in ["rustbalance", PEER, "nginx"]:
            own, ratio = row[proxy], ratios(row, proxy)
            lines.append(
                f"| {name(row)} | {proxy} | {own['per_second']:.0f} (×{ratio['requests']:.2f})"
                f" | {1e6 / own['cpu_us']:.0f} (×{ratio['per_cpu']:.2f})"
                f" | {own['p99_ms']:.1f} ms (×{ratio['p99']:.2f})"
                f" | {own['rss_mib']:.0f} MiB (×{ratio['rss']:.1f}) | {own['failed']} |"
            )
    return "\n".join(lines) + "\n"


def plot(results: list[dict]) -> str:
    """Bars of requests per processor second, HAProxy's being one."""
    step = 2 * BAR + GAP
    height = TOP + step * len(results) + 30
    scale = (WIDTH - LEFT - 60) / MOST
    one = LEFT + scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Requests per second of processor time, {PEER} = 1 (more is better)</text>',
    ]
    for index, (proxy, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="{LEFT + 110 * index}" y="30" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 110 * index + 18}" y="40">{proxy}</text>')
    for index, row in enumerate(results):
        y = TOP + step * index
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR + 4}" text-anchor="end">{name(row)}</text>')
        for place, (proxy, colour) in enumerate(COLOURS.items()):
            ratio = ratios(row, proxy)["per_cpu"]
            top, width = y + place * BAR, min(ratio, MOST) * scale
            parts.append(f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + width + 4:.1f}" y="{top + BAR - 4}">{ratio:.2f}</text>')
    parts.append(f'<line x1="{one}" y1="{TOP - 6}" x2="{one}" y2="{height - 24}" stroke="#333" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{one}" y="{height - 8}" text-anchor="middle">{PEER}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
