//! The documents that are held against a table.

use super::shape::Shape;

/// A processor that a machine asks for; its parts are read strictly besides.
pub(super) const GUEST_CPU: Shape = Shape::of(
    "cpu",
    &[
        Shape::leaf("model").takes(&["fallback", "vendor_id"]),
        Shape::leaf("vendor"),
        Shape::open("topology"),
        Shape::leaf("feature").requires(&["policy", "name"]),
        Shape::open("numa"),
        Shape::open("cache"),
        Shape::open("maxphysaddr"),
    ],
)
.takes(&[
    "mode",
    "match",
    "check",
    "deprecated_features",
    "migratable",
]);

/// A host's processor, as capabilities show it.
pub(super) const HOST_CPU: Shape = Shape::of(
    "cpu",
    &[
        Shape::leaf("arch"),
        Shape::of(
            "features",
            &[
                Shape::leaf("pae"),
                Shape::leaf("nonpae"),
                Shape::leaf("vmx"),
                Shape::leaf("svm"),
            ],
        ),
        Shape::leaf("model"),
        Shape::leaf("vendor"),
        Shape::leaf("microcode").requires(&["version"]),
        Shape::leaf("signature").requires(&["family", "model", "stepping"]),
        Shape::leaf("counter").requires(&["name", "frequency", "scaling"]),
        Shape::leaf("topology")
            .requires(&["sockets", "cores", "threads"])
            .takes(&["dies", "clusters"]),
        Shape::leaf("maxphysaddr")
            .requires(&["mode"])
            .takes(&["bits", "limit"]),
        Shape::leaf("feature").requires(&["name"]),
        Shape::leaf("pages").requires(&["size"]).takes(&["unit"]),
    ],
);

/// A network filter; rules and references are read strictly.
pub(super) const FILTER: Shape = Shape::of(
    "filter",
    &[
        Shape::leaf("uuid"),
        Shape::open("rule"),
        Shape::of(
            "filterref",
            &[Shape::leaf("parameter").requires(&["name", "value"])],
        )
        .requires(&["filter"]),
    ],
)
.requires(&["name"])
.takes(&["chain", "priority"]);

const SIZE: &[&str] = &["unit"];

const PERMISSIONS: Shape = Shape::of(
    "permissions",
    &[
        Shape::leaf("mode"),
        Shape::leaf("owner"),
        Shape::leaf("group"),
        Shape::leaf("label"),
    ],
);

const TIMESTAMPS: Shape = Shape::of(
    "timestamps",
    &[
        Shape::leaf("atime"),
        Shape::leaf("btime"),
        Shape::leaf("ctime"),
        Shape::leaf("mtime"),
    ],
);

const EXTENT: &[&str] = &["start", "end"];

/// A volume.
pub(super) const VOLUME: Shape = Shape::of(
    "volume",
    &[
        Shape::leaf("name"),
        Shape::leaf("key"),
        Shape::of(
            "source",
            &[Shape::of("device", &[Shape::leaf("extent").requires(EXTENT)]).requires(&["path"])],
        ),
        Shape::leaf("capacity").takes(SIZE),
        Shape::leaf("allocation").takes(SIZE),
        Shape::leaf("physical").takes(SIZE),
        Shape::of(
            "target",
            &[
                Shape::leaf("path"),
                Shape::leaf("format").requires(&["type"]),
                PERMISSIONS,
                TIMESTAMPS,
                Shape::of(
                    "encryption",
                    &[
                        Shape::leaf("secret")
                            .requires(&["type"])
                            .takes(&["uuid", "usage"]),
                        Shape::leaf("cipher")
                            .requires(&["name", "size"])
                            .takes(&["mode", "hash"]),
                        Shape::leaf("ivgen").requires(&["name"]).takes(&["hash"]),
                    ],
                )
                .requires(&["format"])
                .takes(&["engine"]),
                Shape::leaf("compat"),
                Shape::leaf("nocow"),
                Shape::leaf("clusterSize").takes(SIZE),
                Shape::of(
                    "features",
                    &[Shape::leaf("lazy_refcounts"), Shape::leaf("extended_l2")],
                ),
            ],
        ),
        Shape::of(
            "backingStore",
            &[
                Shape::leaf("path"),
                Shape::leaf("format").requires(&["type"]),
                PERMISSIONS,
                TIMESTAMPS,
            ],
        ),
    ],
)
.takes(&["type"]);

const ADAPTER: Shape = Shape::of(
    "adapter",
    &[Shape::of(
        "parentaddr",
        &[Shape::leaf("address").requires(&["domain", "bus", "slot", "function"])],
    )
    .requires(&["unique_id"])],
)
.takes(&[
    "type",
    "name",
    "parent",
    "parent_wwnn",
    "parent_wwpn",
    "parent_fabric_wwn",
    "managed",
    "wwnn",
    "wwpn",
]);

/// A pool; which parts go with which kind is the reader's matter.
pub(super) const POOL: Shape = Shape::of(
    "pool",
    &[
        Shape::leaf("name"),
        Shape::leaf("uuid"),
        Shape::leaf("capacity").takes(SIZE),
        Shape::leaf("allocation").takes(SIZE),
        Shape::leaf("available").takes(SIZE),
        Shape::of("features", &[Shape::leaf("cow").requires(&["state"])]),
        Shape::of(
            "source",
            &[
                Shape::leaf("name"),
                Shape::leaf("host").requires(&["name"]).takes(&["port"]),
                Shape::of("device", &[Shape::leaf("freeExtent").requires(EXTENT)])
                    .requires(&["path"])
                    .takes(&["part_separator"]),
                Shape::leaf("dir").requires(&["path"]),
                Shape::leaf("format").requires(&["type"]),
                Shape::leaf("protocol").requires(&["ver"]),
                Shape::of("initiator", &[Shape::leaf("iqn").requires(&["name"])]),
                ADAPTER,
                Shape::of("auth", &[Shape::leaf("secret").takes(&["uuid", "usage"])])
                    .requires(&["type", "username"]),
                Shape::leaf("vendor").requires(&["name"]),
                Shape::leaf("product").requires(&["name"]),
            ],
        ),
        Shape::of("target", &[Shape::leaf("path"), PERMISSIONS]),
        Shape::of("refresh", &[Shape::leaf("volume").takes(&["allocation"])]),
    ],
)
.requires(&["type"]);

/// A secret.
pub(super) const SECRET: Shape = Shape::of(
    "secret",
    &[
        Shape::leaf("uuid"),
        Shape::leaf("description"),
        Shape::of(
            "usage",
            &[
                Shape::leaf("volume"),
                Shape::leaf("name"),
                Shape::leaf("target"),
            ],
        )
        .requires(&["type"]),
    ],
)
.takes(&["ephemeral", "private"]);
