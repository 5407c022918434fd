"""The pages of machines and what can be done with one; everything that changes something is a POST."""

from django.urls import path

from portal.audit import views as audit
from portal.backups import views as backups
from portal.exports import views as exports
from portal.figures import views as figures
from portal.leases import views as leases
from portal.machines.views import (
    copies,
    firmware,
    guest,
    hardware,
    limits,
    network,
    pages,
    power,
    power_states,
    snapshots,
)
from portal.rights import views as sharing
from portal.screens.views import machine_screen

app_name = "machines"
urlpatterns = [
    path("", pages.machine_list, name="list"),
    path("new/", pages.machine_new, name="new"),
    path("<uuid:machine_id>/", pages.machine_detail, name="detail"),
    path("<uuid:machine_id>/screen.png", machine_screen, name="screen"),
    path("<uuid:machine_id>/activity/", audit.machine_activity, name="activity"),
    path("<uuid:machine_id>/figures/", figures.machine_figures, name="figures"),
    path("<uuid:machine_id>/figures/data/", figures.machine_figures_data, name="figures-data"),
    path("<uuid:machine_id>/hardware/", hardware.machine_hardware, name="hardware"),
    path("<uuid:machine_id>/hardware/size/", hardware.machine_size, name="hardware-size"),
    path("<uuid:machine_id>/hardware/boot/", hardware.machine_boot, name="hardware-boot"),
    path("<uuid:machine_id>/hardware/limits/", limits.machine_limits, name="hardware-limits"),
    path("<uuid:machine_id>/disks/add/", hardware.disk_add, name="disk-add"),
    path("<uuid:machine_id>/disks/<uuid:disk_id>/grow/", hardware.disk_grow, name="disk-grow"),
    path("<uuid:machine_id>/disks/<uuid:disk_id>/remove/", hardware.disk_remove, name="disk-remove"),
    path("<uuid:machine_id>/cards/add/", hardware.card_add, name="card-add"),
    path("<uuid:machine_id>/cards/<uuid:nic_id>/remove/", hardware.card_remove, name="card-remove"),
    path("<uuid:machine_id>/network/", network.machine_network, name="network"),
    path("<uuid:machine_id>/ports/publish/", network.port_publish, name="port-publish"),
    path("<uuid:machine_id>/ports/<uuid:port_id>/withdraw/", network.port_withdraw, name="port-withdraw"),
    path("<uuid:machine_id>/firewall/", network.firewall_set, name="firewall-set"),
    path("<uuid:machine_id>/firewall/rules/add/", network.rule_add, name="rule-add"),
    path("<uuid:machine_id>/firewall/rules/remove/", network.rule_remove, name="rule-remove"),
    path("<uuid:machine_id>/firewall/rules/move/", network.rule_move, name="rule-move"),
    path("<uuid:machine_id>/cards/<uuid:nic_id>/lock/", network.address_lock, name="address-lock"),
    path("<uuid:machine_id>/cards/<uuid:nic_id>/unlock/", network.address_unlock, name="address-unlock"),
    path("<uuid:machine_id>/copies/", copies.machine_copies, name="copies"),
    path("<uuid:machine_id>/clone/", copies.machine_clone, name="clone"),
    path("<uuid:machine_id>/publish/", copies.machine_publish, name="publish"),
    path("<uuid:machine_id>/disks/<uuid:disk_id>/move/", copies.machine_move_disk, name="move-disk"),
    path("<uuid:machine_id>/renew/", copies.machine_renew, name="renew"),
    path("<uuid:machine_id>/start/", power.machine_start, name="start"),
    path("<uuid:machine_id>/shut-down/", power.machine_shut_down, name="shut-down"),
    path("<uuid:machine_id>/restart/", power.machine_restart, name="restart"),
    path("<uuid:machine_id>/force-off/", power.machine_force_off, name="force-off"),
    path(
        "<uuid:machine_id>/finish-installation/",
        power.machine_finish_installation,
        name="finish-installation",
    ),
    path("<uuid:machine_id>/insert-disc/", power.machine_insert_disc, name="insert-disc"),
    path("<uuid:machine_id>/password/", guest.machine_password, name="password"),
    path("<uuid:machine_id>/change-firmware/", firmware.machine_change_firmware, name="change-firmware"),
    path("<uuid:machine_id>/pause/", power_states.machine_pause, name="pause"),
    path("<uuid:machine_id>/resume/", power_states.machine_resume, name="resume"),
    path("<uuid:machine_id>/reset/", power_states.machine_reset, name="reset"),
    path("<uuid:machine_id>/hibernate/", power_states.machine_hibernate, name="hibernate"),
    path("<uuid:machine_id>/wake/", power_states.machine_wake, name="wake"),
    path("<uuid:machine_id>/start-anew/", power_states.machine_start_anew, name="start-anew"),
    path("<uuid:machine_id>/autostart/", power_states.machine_set_autostart, name="autostart"),
    path("<uuid:machine_id>/lease/set/", leases.lease_set, name="lease-set"),
    path("<uuid:machine_id>/lease/extend/", leases.lease_extend, name="lease-extend"),
    path("<uuid:machine_id>/lease/remove/", leases.lease_remove, name="lease-remove"),
    path("<uuid:machine_id>/schedule/", leases.schedule_set, name="schedule-set"),
    path("<uuid:machine_id>/cancel/", power.operation_cancel, name="cancel"),
    path("<uuid:machine_id>/sharing/", sharing.machine_sharing, name="sharing"),
    path("<uuid:machine_id>/share/", sharing.machine_share, name="share"),
    path(
        "<uuid:machine_id>/shares/<uuid:share_id>/withdraw/",
        sharing.machine_share_withdraw,
        name="share-withdraw",
    ),
    path("<uuid:machine_id>/hand-over/", sharing.machine_hand_over, name="hand-over"),
    path("<uuid:machine_id>/offer/withdraw/", sharing.machine_offer_withdraw, name="offer-withdraw"),
    path("<uuid:machine_id>/move-home/", sharing.machine_move_home, name="move-home"),
    path("offers/<uuid:offer_id>/", sharing.machine_offer, name="offer"),
    path("<uuid:machine_id>/delete/", power.machine_delete, name="delete"),
    path("<uuid:machine_id>/backups/", backups.machine_backups, name="backups"),
    path("<uuid:machine_id>/back-up/", backups.machine_back_up, name="back-up"),
    path("<uuid:machine_id>/backup-plan/", backups.machine_backup_plan, name="backup-plan"),
    path("<uuid:machine_id>/export/", exports.machine_export, name="export"),
    path(
        "<uuid:machine_id>/exports/<uuid:export_id>/",
        exports.export_download,
        name="export-file",
    ),
    path(
        "<uuid:machine_id>/exports/<uuid:export_id>/remove/",
        exports.export_remove,
        name="export-remove",
    ),
    path("<uuid:machine_id>/snapshots/", snapshots.snapshot_list, name="snapshots"),
    path(
        "<uuid:machine_id>/snapshots/<uuid:snapshot_id>/revert/",
        snapshots.snapshot_revert,
        name="snapshot-revert",
    ),
    path(
        "<uuid:machine_id>/snapshots/<uuid:snapshot_id>/delete/",
        snapshots.snapshot_delete,
        name="snapshot-delete",
    ),
    path(
        "<uuid:machine_id>/snapshots/<uuid:snapshot_id>/rename/",
        snapshots.snapshot_rename,
        name="snapshot-rename",
    ),
]
